"""What is wrong with containers: pure functions over two views of a host, moments apart."""
