"""Models without convolutions: KNN, MLP, and dlib's shape predictor."""
