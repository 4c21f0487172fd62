"""The trainable half of SLSTT: class tokens of flow pictures → a norm → an LSTM, or a mean of logits → classes."""
