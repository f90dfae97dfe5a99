"""Tasks on engines of other machines: one worker program and one folder per attempt for all of them."""
