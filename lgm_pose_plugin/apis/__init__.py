"""Find people and their key points in pictures and videos."""
