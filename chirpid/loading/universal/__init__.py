"""The loading layer for people without birds: any dataset through plan, backends and monitor."""
