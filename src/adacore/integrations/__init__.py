"""Other libraries' trainers and engines; each module imports its library only when it is used."""
