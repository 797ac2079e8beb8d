"""Time networks against each other."""

EAGER_BACKENDS = ('eager', 'channels_last', 'compile')
BACKENDS = EAGER_BACKENDS + ('onnxruntime', 'openvino', 'onnxruntime-int8',
                             'openvino-int8')
