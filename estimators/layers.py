"""The layers of `tf.compat.v1.layers`, checked on import.

TensorFlow has them with Keras 2 only, and its own error comes late and is
unclear. A program that imports this module fails at its start with the setting
that it needs, and not when its first graph is built:

```python
from monolith_tf.estimators import layers

hidden = layers.dense(inputs, 16, tf.nn.relu)
```

The rest of `monolith_tf` does not need it: a model_fn without these layers
works with any Keras as `tf.keras`.
"""

import tensorflow as tf

from monolith_tf.estimators import legacy_keras

legacy_keras.check()

_all = tf.compat.v1.layers

AveragePooling1D = _all.AveragePooling1D
AveragePooling2D = _all.AveragePooling2D
AveragePooling3D = _all.AveragePooling3D
BatchNormalization = _all.BatchNormalization
Conv1D = _all.Conv1D
Conv2D = _all.Conv2D
Conv2DTranspose = _all.Conv2DTranspose
Conv3D = _all.Conv3D
Conv3DTranspose = _all.Conv3DTranspose
Dense = _all.Dense
Dropout = _all.Dropout
Flatten = _all.Flatten
InputSpec = _all.InputSpec
Layer = _all.Layer
MaxPooling1D = _all.MaxPooling1D
MaxPooling2D = _all.MaxPooling2D
MaxPooling3D = _all.MaxPooling3D
SeparableConv1D = _all.SeparableConv1D
SeparableConv2D = _all.SeparableConv2D
average_pooling1d = _all.average_pooling1d
average_pooling2d = _all.average_pooling2d
average_pooling3d = _all.average_pooling3d
batch_normalization = _all.batch_normalization
conv1d = _all.conv1d
conv2d = _all.conv2d
conv2d_transpose = _all.conv2d_transpose
conv3d = _all.conv3d
conv3d_transpose = _all.conv3d_transpose
dense = _all.dense
dropout = _all.dropout
flatten = _all.flatten
max_pooling1d = _all.max_pooling1d
max_pooling2d = _all.max_pooling2d
max_pooling3d = _all.max_pooling3d
separable_conv1d = _all.separable_conv1d
separable_conv2d = _all.separable_conv2d
