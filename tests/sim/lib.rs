//! Simulated worlds around the product, and what must be true in them.
