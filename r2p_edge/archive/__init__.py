"""Archives: many videos answered into one table, that can be stopped and gone on with."""
