"""What goes in: tables and their schema, image decoding, data sets by name, your own folder."""
