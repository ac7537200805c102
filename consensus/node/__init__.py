"""One validator: its files, its configuration, and CometBFT with the application as one supervised unit."""
