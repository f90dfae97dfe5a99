"""scikit-learn: only its digits; what is missing here is an error, not Any."""
