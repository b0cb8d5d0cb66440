"""Published weights: where they lie, how they are fetched and checked, and the store of them."""
