package tiderace.peer;

/**
 * Runs one workload of the benchmarks on Kafka Streams until all records are processed and committed, and prints one
 * line of JSON: what it cost. {@link Options} has the options, {@link Workload} the topologies.
 */
public final class Main {
    private static final String LOG_LEVEL = "org.slf4j.simpleLogger.defaultLogLevel";

    private Main() {}

    /** Exits with 1, and a line on stderr, when the workload could not be done. */
    public static void main(String[] arguments) {
        // Kafka Streams warns of every late record, which would be measured; errors are told in one line below.
        if (System.getProperty(LOG_LEVEL) == null) {
            System.setProperty(LOG_LEVEL, "off");
        }
        int status = 0;
        try {
            System.out.println(new Job(Options.parse(arguments)).run());
        } catch (Throwable failure) {
            System.err.println("kafka-streams: " + withCauses(failure));
            status = 1;
        }
        System.out.flush();
        // Threads of a client that could not be closed would keep the process; there is nothing left to clean up.
        Runtime.getRuntime().halt(status);
    }

    /** The message of an error and those of its causes, in one line. */
    private static String withCauses(Throwable failure) {
        StringBuilder line = new StringBuilder();
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause != failure) {
                line.append(": ");
            }
            // What this program says itself needs no name of a class.
            boolean own = cause instanceof Failure;
            line.append(own ? cause.getMessage() : String.valueOf(cause).replaceAll("\\s+", " "));
        }
        return line.toString();
    }
}
