"""What all models have in common: their files, the memory they take, how much text they read."""
