package tiderace.peer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** How far the application has committed, as the broker has it. */
final class Commits implements AutoCloseable {
    private static final Duration ANSWER_LIMIT = Duration.ofSeconds(60);

    private final Options options;
    private final Admin admin;

    Commits(Options options) {
        this.options = options;
        this.admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, options.brokers()));
    }

    /** Fails when the input or the output is missing, which Kafka Streams would find out late or not say. */
    void requireTopics() throws Failure, InterruptedException {
        describe(List.of(options.input(), options.output()));
    }

    /** Records, over all source topics, that are not committed yet; control records count as records. */
    long open() throws Failure, InterruptedException {
        List<TopicPartition> partitions = new ArrayList<>();
        describe(options.workload().sources(options)).forEach((topic, description) -> description.partitions()
                .forEach(partition -> partitions.add(new TopicPartition(topic, partition.partition()))));
        var starts = offsets(partitions, OffsetSpec.earliest());
        var ends = offsets(partitions, OffsetSpec.latest());
        Map<TopicPartition, OffsetAndMetadata> committed = answer(
                admin.listConsumerGroupOffsets(options.applicationId()).partitionsToOffsetAndMetadata(),
                "the committed offsets of `" + options.applicationId() + "`");
        long open = 0;
        for (TopicPartition partition : partitions) {
            OffsetAndMetadata place = committed.get(partition);
            long from = starts.get(partition).offset();
            open += Math.max(0, ends.get(partition).offset() - (place == null ? from : Math.max(from, place.offset())));
        }
        return open;
    }

    private Map<TopicPartition, ListOffsetsResultInfo> offsets(List<TopicPartition> partitions, OffsetSpec which)
            throws Failure, InterruptedException {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        partitions.forEach(partition -> asked.put(partition, which));
        return answer(admin.listOffsets(asked).all(), "the offsets of " + partitions);
    }

    private Map<String, TopicDescription> describe(Collection<String> topics) throws Failure, InterruptedException {
        Map<String, TopicDescription> found = new HashMap<>();
        for (var topic : admin.describeTopics(topics).topicNameValues().entrySet()) {
            found.put(topic.getKey(), answer(topic.getValue(), "topic `" + topic.getKey() + "`"));
        }
        return found;
    }

    private static <T> T answer(KafkaFuture<T> future, String what) throws Failure, InterruptedException {
        try {
            return future.get(ANSWER_LIMIT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException failed) {
            boolean missing = failed.getCause() instanceof UnknownTopicOrPartitionException;
            throw new Failure(what + (missing ? " does not exist" : " cannot be asked for"), failed.getCause());
        } catch (TimeoutException late) {
            throw new Failure("no answer in " + ANSWER_LIMIT.toSeconds() + " s about " + what, late);
        }
    }

    @Override
    public void close() {
        admin.close(Duration.ZERO);
    }
}
