"""Change data capture, end to end: a PostgreSQL, Debezium on a Connect worker, a Kafka, and Headwater behind them."""
