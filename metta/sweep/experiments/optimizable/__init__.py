"""Ready experiments that search what is not a hyperparameter: structure, allocation, aggregation."""
