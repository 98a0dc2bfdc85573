package tiderace.peer;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** One workload from the start of its threads to the commit of its last record. */
final class Job {
    private static final Duration NO_PROGRESS_LIMIT = Duration.ofSeconds(60);
    private static final Duration CLOSE_LIMIT = Duration.ofSeconds(30);
    private static final long LOOK_MILLIS = 100;
    /** The end is told this much late, at most, plus the time that the broker takes to answer. */
    private static final long COMMIT_LOOK_MILLIS = 5;

    private final Options options;
    private final Progress progress;
    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    Job(Options options) {
        this.options = options;
        this.progress = new Progress(options.records());
    }

    /** Does it and says, as JSON in one line, what it cost. */
    String run() throws Failure, InterruptedException, IOException {
        KafkaStreams streams =
                new KafkaStreams(options.workload().topology(options, progress), Settings.of(options));
        streams.setUncaughtExceptionHandler(error -> {
            failure.compareAndSet(null, error);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Moment committed;
        boolean closed;
        streams.start();
        try (Commits commits = new Commits(options)) {
            commits.requireTopics();
            awaitProcessed();
            awaitCommitted(commits);
            committed = Moment.now();
        } finally {
            // Also after a failure: a transaction left open would hold up who reads the output.
            closed = streams.close(CLOSE_LIMIT);
        }
        throwFailure();
        if (!closed) {
            throw new Failure("Kafka Streams did not close within " + CLOSE_LIMIT.toSeconds() + " s");
        }
        if (progress.count() != options.records()) {
            throw new Failure("processed " + progress.count() + " records, more than --records " + options.records());
        }
        return cost(committed);
    }

    private void awaitProcessed() throws Failure, InterruptedException {
        Patience patience = new Patience(
                NO_PROGRESS_LIMIT, "the number of processed records, of " + options.records() + " to come,");
        while (!progress.awaitAll(LOOK_MILLIS)) {
            throwFailure();
            patience.see(progress.count());
        }
    }

    private void awaitCommitted(Commits commits) throws Failure, InterruptedException {
        Duration limit = NO_PROGRESS_LIMIT.plusMillis(options.commitIntervalMs());
        Patience patience = new Patience(limit, "the number of records that are not committed");
        for (long open = commits.open(); open > 0; open = commits.open()) {
            throwFailure();
            patience.see(open);
            Thread.sleep(COMMIT_LOOK_MILLIS);
        }
    }

    private void throwFailure() throws Failure {
        Throwable error = failure.get();
        if (error != null) {
            throw new Failure("Kafka Streams failed", error);
        }
    }

    private String cost(Moment committed) throws Failure, IOException {
        Moment start = Moment.jvmStart();
        return String.format(
                Locale.ROOT,
                "{\"records\":%d,\"wall_s\":%.3f,\"cpu_s\":%.3f,\"wall_second_half_s\":%.3f,"
                        + "\"cpu_second_half_s\":%.3f,\"start_s\":%.3f,\"rss_peak_kb\":%d}",
                options.records(),
                committed.secondsSince(start),
                committed.cpuSecondsSince(start),
                committed.secondsSince(progress.half()),
                committed.cpuSecondsSince(progress.half()),
                progress.first().secondsSince(start),
                peakMemory());
    }

    /** The most memory the process had resident, in KiB. */
    private static long peakMemory() throws Failure, IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            String[] words = line.split("\\s+");
            if (words[0].equals("VmHWM:")) {
                return Long.parseLong(words[1]);
            }
        }
        throw new Failure("/proc/self/status does not tell the peak of resident memory");
    }
}
