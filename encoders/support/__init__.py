"""What has nothing to do with encoders: files, ranges, registries, number formats."""
