"""Generated training texts. Template lists are split by place: every fifth entry is for validation."""
