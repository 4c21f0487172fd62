"""The Frame Attention Network (FAN): frames weighted by themselves, then by themselves beside their mean."""
