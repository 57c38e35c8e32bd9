"""What can be read off encoders: functions of images and features, without environments."""
