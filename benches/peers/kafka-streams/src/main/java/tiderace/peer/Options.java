package tiderace.peer;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The command line. Every option is required: a benchmark states its settings, it does not inherit them.
 *
 * @param workload what to compute
 * @param brokers {@code HOST:PORT} of a broker
 * @param input topic to read; holds {@code records} records, or lines of so many words, or will
 * @param output topic to write; must exist
 * @param applicationId id of the group, prefix of the internal topics; new for every run, or the run goes on where the
 *     last one ended
 * @param stateDirectory where stores lie; empty at the start
 * @param threads {@code num.stream.threads}
 * @param guarantee {@code processing.guarantee}
 * @param store where state is kept
 * @param cacheBytes {@code statestore.cache.max.bytes}; 0 sends every update on
 * @param commitIntervalMs {@code commit.interval.ms}
 * @param lingerMs {@code linger.ms} of the producers
 * @param membership how it is a member of its group
 * @param records how many records, of {@code p4} words, to process before it ends, at least two
 */
record Options(
        Workload workload,
        String brokers,
        String input,
        String output,
        String applicationId,
        String stateDirectory,
        int threads,
        Guarantee guarantee,
        Store store,
        long cacheBytes,
        long commitIntervalMs,
        long lingerMs,
        Membership membership,
        long records) {

    /** The guarantees, spelled as Kafka Streams spells them. */
    enum Guarantee {
        EXACTLY_ONCE_V2,
        AT_LEAST_ONCE
    }

    /** The stores that Kafka Streams brings along. */
    enum Store {
        ROCKSDB,
        IN_MEMORY
    }

    /** What the group does about a member that is gone without a word. */
    enum Membership {
        /** The default: a process is a new member each time, and the one before is waited for, 45 s. */
        DYNAMIC,
        /** {@code group.instance.id}: a process takes the place of the one before at once. */
        STATIC
    }

    private static final List<String> NAMES = List.of(
            "--workload",
            "--brokers",
            "--input",
            "--output",
            "--application-id",
            "--state-dir",
            "--threads",
            "--guarantee",
            "--store",
            "--cache-bytes",
            "--commit-interval-ms",
            "--linger-ms",
            "--membership",
            "--records");

    static Options parse(String[] words) throws Failure {
        Map<String, String> given = new HashMap<>();
        for (int at = 0; at < words.length; at += 2) {
            if (!NAMES.contains(words[at])) {
                throw new Failure("there is no option `" + words[at] + "`; there are " + String.join(" ", NAMES));
            }
            if (at + 1 == words.length) {
                throw new Failure("option " + words[at] + " has no value");
            }
            given.put(words[at], words[at + 1]);
        }
        List<String> missing = NAMES.stream().filter(name -> !given.containsKey(name)).toList();
        if (!missing.isEmpty()) {
            throw new Failure("missing: " + String.join(" ", missing));
        }
        return new Options(
                choice(given, "--workload", Workload.values()),
                given.get("--brokers"),
                given.get("--input"),
                given.get("--output"),
                given.get("--application-id"),
                given.get("--state-dir"),
                Math.toIntExact(number(given, "--threads", 1, 1024)),
                choice(given, "--guarantee", Guarantee.values()),
                choice(given, "--store", Store.values()),
                number(given, "--cache-bytes", 0, Long.MAX_VALUE),
                number(given, "--commit-interval-ms", 1, Integer.MAX_VALUE),
                number(given, "--linger-ms", 0, Integer.MAX_VALUE),
                choice(given, "--membership", Membership.values()),
                number(given, "--records", 2, Long.MAX_VALUE));
    }

    private static long number(Map<String, String> given, String name, long least, long most) throws Failure {
        String text = given.get(name);
        try {
            long number = Long.parseLong(text);
            if (number >= least && number <= most) {
                return number;
            }
        } catch (NumberFormatException notANumber) {
            // Said below, with the range.
        }
        throw new Failure("option " + name + " is a number of " + least + " to " + most + ", not `" + text + "`");
    }

    private static <C extends Enum<C>> C choice(Map<String, String> given, String name, C[] choices) throws Failure {
        for (C choice : choices) {
            if (spelling(choice).equals(given.get(name))) {
                return choice;
            }
        }
        String all = Arrays.stream(choices).map(Options::spelling).collect(Collectors.joining(", "));
        throw new Failure("option " + name + " is one of " + all + ", not `" + given.get(name) + "`");
    }

    /** How a choice is written on the command line. */
    static String spelling(Enum<?> choice) {
        String name = choice.name().toLowerCase(Locale.ROOT);
        // Kafka's own values keep their underscores.
        return choice instanceof Guarantee ? name : name.replace('_', '-');
    }
}
