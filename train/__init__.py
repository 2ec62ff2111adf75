"""emotion-edge on the workstation: data, networks, fitting, evaluation."""
