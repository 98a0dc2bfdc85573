//! Apache Kafka through librdkafka.
