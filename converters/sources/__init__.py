"""What is read: every kind of input behind one interface."""
