"""Training pipeline of the Portcullis guard model: from the data folder to a checked model package."""
