"""The networks, in Keras 3, and loading weights from other networks and files."""
