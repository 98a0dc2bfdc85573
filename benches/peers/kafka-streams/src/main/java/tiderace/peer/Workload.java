package tiderace.peer;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.WindowStore;

/** The workloads as a user of the DSL writes them. */
enum Workload {
    /** Rides that were driven, bytes unchanged. */
    P1 {
        @Override
        void build(StreamsBuilder builder, Options options, Progress progress) {
            Json<Values.Driven> json = new Json<>(Values.Driven.class, progress::processed);
            builder.stream(options.input(), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                    .filter((key, value) -> json.deserialize(options.input(), value).tripDistance > 0)
                    .to(options.output(), Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
        }
    },

    /**
     * Rides per zone in tumbling windows of event time, each count once, when its window is closed. The key is the
     * zone as text; read as the number it is, it can be grouped by as it lies, without a repartition topic.
     */
    P2 {
        @Override
        void build(StreamsBuilder builder, Options options, Progress progress) {
            Serde<Integer> zones = reading((topic, text) -> zone(text));
            Serde<Values.Begun> rides = reading(new Json<>(Values.Begun.class, progress::processed));
            Consumed<Integer, Values.Begun> consumed = Consumed.with(zones, rides)
                    .withTimestampExtractor((record, streamTime) -> ((Values.Begun) record.value()).pickup);
            builder.stream(options.input(), consumed)
                    .groupByKey(Grouped.keySerde(Serdes.Integer()))
                    .windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW))
                    .count(Materialized.<Integer, Long, WindowStore<Bytes, byte[]>>as("counts"))
                    .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                    .toStream()
                    // The window's start follows the key, 8 bytes big-endian.
                    .to(options.output(), Produced.with(
                            WindowedSerdes.timeWindowedSerdeFrom(Integer.class, WINDOW.toMillis()), Serdes.Long()));
        }
    },

    /** A running count by the key as it lies. The ride is decoded, though the count does not look at it. */
    P3 {
        @Override
        void build(StreamsBuilder builder, Options options, Progress progress) {
            Serde<Values.Driven> rides = reading(new Json<>(Values.Driven.class, progress::processed));
            builder.stream(options.input(), Consumed.with(Serdes.ByteArray(), rides))
                    .groupByKey()
                    .count(Materialized.as("counts"))
                    .toStream()
                    .to(options.output(), Produced.with(Serdes.ByteArray(), Serdes.Long()));
        }
    },

    /** A running count of the words of lines: the word becomes the key, so records go through a repartition topic. */
    P4 {
        @Override
        void build(StreamsBuilder builder, Options options, Progress progress) {
            builder.stream(options.input(), Consumed.with(Serdes.ByteArray(), Serdes.String()))
                    // `flatMapValues` and `selectKey` in one step: what is counted need not carry the word twice.
                    .flatMap((none, line) -> words(line))
                    .groupByKey(Grouped.with(WORDS, Serdes.String(), counted(progress)))
                    .count(Materialized.as("counts"))
                    .toStream()
                    .to(options.output(), Produced.with(Serdes.String(), Serdes.Long()));
        }

        @Override
        List<String> sources(Options options) {
            return List.of(options.input(), options.applicationId() + "-" + WORDS + "-repartition");
        }
    };

    private static final Duration WINDOW = Duration.ofSeconds(10);
    private static final String WORDS = "words";
    /** A value that is not null: an aggregation skips null values. */
    private static final byte[] NOTHING = {};

    /** Adds the workload's steps; {@code progress} hears of each record that reaches the last step with state. */
    abstract void build(StreamsBuilder builder, Options options, Progress progress);

    /** The topics whose offsets tell how far the workload has committed. */
    List<String> sources(Options options) {
        return List.of(options.input());
    }

    final Topology topology(Options options, Progress progress) {
        StreamsBuilder builder = new StreamsBuilder();
        build(builder, options, progress);
        return builder.build();
    }

    /** For a type that is only read: the repository's topics are written by others. */
    private static <T> Serde<T> reading(Deserializer<T> deserializer) {
        Serializer<T> none = (topic, value) -> {
            throw new UnsupportedOperationException("topic `" + topic + "` is not written");
        };
        return Serdes.serdeFrom(none, deserializer);
    }

    /** Values of the repartition topic, each of which is a word that is counted next. */
    private static Serde<byte[]> counted(Progress progress) {
        Serde<byte[]> bytes = Serdes.ByteArray();
        return Serdes.serdeFrom(bytes.serializer(), (topic, value) -> {
            progress.processed();
            return bytes.deserializer().deserialize(topic, value);
        });
    }

    /** The words of a line, which a space divides, as keys. */
    private static List<KeyValue<String, byte[]>> words(String line) {
        String[] words = line.split(" ");
        List<KeyValue<String, byte[]>> keyed = new ArrayList<>(words.length);
        for (String word : words) {
            keyed.add(KeyValue.pair(word, NOTHING));
        }
        return keyed;
    }

    private static int zone(byte[] text) {
        return Integer.parseInt(new String(text, StandardCharsets.ISO_8859_1));
    }
}
