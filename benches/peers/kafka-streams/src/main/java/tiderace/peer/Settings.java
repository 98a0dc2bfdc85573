package tiderace.peer;

import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;

/** The configuration of Kafka Streams. What is not named here has its default. */
final class Settings {
    /**
     * Within the 100,000 to 200,000 bytes that Confluent's documentation advises for throughput; the default of 16,384
     * costs the broker 1.4 times the CPU when every record is sent on. {@code linger.ms} belongs to the same advice; an
     * option says it, 100 is Kafka Streams' own default. The advice's compression and {@code acks=1} are left out: both sides
     * write the same bytes, with the same durability.
     */
    private static final int PRODUCER_BATCH_BYTES = 131_072;

    /** The shortest that a broker grants by default, {@code group.min.session.timeout.ms}; a third of it for heartbeats. */
    private static final int SESSION_TIMEOUT_MS = 6_000;

    private static final int HEARTBEAT_INTERVAL_MS = 2_000;

    private Settings() {}

    static Properties of(Options options) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, options.applicationId());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.brokers());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, options.stateDirectory());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.threads());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, Options.spelling(options.guarantee()));
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, options.cacheBytes());
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.commitIntervalMs());
        settings.put(StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG, suppliers(options.store()));
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), PRODUCER_BATCH_BYTES);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), options.lingerMs());
        if (options.membership() == Options.Membership.STATIC) {
            member(settings, ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, options.applicationId());
            member(settings, ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, SESSION_TIMEOUT_MS);
            member(settings, ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, HEARTBEAT_INTERVAL_MS);
        }
        return settings;
    }

    /** A setting of the consumers that are members of the group. */
    private static void member(Properties settings, String name, Object value) {
        settings.put(StreamsConfig.mainConsumerPrefix(name), value);
    }

    private static Class<?> suppliers(Options.Store store) {
        return switch (store) {
            case ROCKSDB -> BuiltInDslStoreSuppliers.RocksDBDslStoreSuppliers.class;
            case IN_MEMORY -> BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class;
        };
    }
}
