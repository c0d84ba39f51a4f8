"""FuSTAL: pseudo labels from video labels alone, and a student that learns from them."""
