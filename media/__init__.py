"""Video, sound and pictures in and out, and the choice of frames."""
