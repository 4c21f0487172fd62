"""What a model is shown: rows of features or pictures, sampled, planned an epoch at a time, loaded ahead."""
