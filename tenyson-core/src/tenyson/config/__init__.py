"""What is asked: the configuration's schema, how it is loaded, and how its errors are explained."""
