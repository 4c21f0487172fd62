"""A long short-term memory (LSTM) over the frames of a clip."""
