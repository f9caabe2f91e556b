"""Read raw documents: the formats a corpus comes in, cut into parts that workers share."""
