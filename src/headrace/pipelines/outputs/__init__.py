"""What the steps of the pipelines leave in the run ledger, a file a pipeline."""
