"""What the web pages share: helpers for elements, numbers in words, light and dark colours."""
