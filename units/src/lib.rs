//! The vocabulary of fleet.
