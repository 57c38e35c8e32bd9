"""Tables, pictures and files of a comparison."""
