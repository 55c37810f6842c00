"""What no public data set holds: a rendered shop, clicks, quality signals, shoppers, growth."""
