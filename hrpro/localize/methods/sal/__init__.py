"""SAL: actions from video labels alone, the names of the actions without any time."""
