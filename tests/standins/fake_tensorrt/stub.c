/* The functions of NVIDIA's libraries that TensorRT's Python module is linked against, all giving
   nothing: enough to import the module and look at it where the libraries are not installed. */

#define EMPTY(name) \
    void* name(void) { return 0; }

EMPTY(createInferBuilder_INTERNAL)
EMPTY(createInferRefitter_INTERNAL)
EMPTY(createInferRuntime_INTERNAL)
EMPTY(createNvOnnxParserRefitter_INTERNAL)
EMPTY(createNvOnnxParser_INTERNAL)
EMPTY(getBuilderPluginRegistry)
EMPTY(getNvOnnxParserVersion)
EMPTY(getPluginRegistry)
EMPTY(initLibNvInferPlugins)

/* The parsers that 8 was the last to have; C++ names. */
EMPTY(_ZN11nvuffparser15createUffParserEv)
EMPTY(_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi)
EMPTY(_ZN14nvcaffeparser117createCaffeParserEv)
EMPTY(_ZN14nvcaffeparser123shutdownProtobufLibraryEv)
