"""What is drawn of predictions: boxes, labels and probabilities in pictures, timelines, annotated videos."""
