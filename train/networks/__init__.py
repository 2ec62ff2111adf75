"""The networks, in Keras 3, and weights from elsewhere."""
