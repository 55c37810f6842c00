"""What goes in: tables and their schema, image decoding, data sets, click simulator."""
