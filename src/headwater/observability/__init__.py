"""What Headwater tells about itself: the names of its events and metrics, and how freshness is counted."""
