package tiderace.peer;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/**
 * A point of the run on the clock and in CPU time of the process, all threads, in nanoseconds. The JVM tells CPU time
 * in steps of 10 ms.
 */
record Moment(long clock, long cpu) {
    private static final OperatingSystemMXBean PROCESS =
            ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);

    static Moment now() {
        return new Moment(System.nanoTime(), PROCESS.getProcessCpuTime());
    }

    /** When the JVM started; it had used no CPU then. */
    static Moment jvmStart() {
        long uptime = ManagementFactory.getRuntimeMXBean().getUptime();
        return new Moment(System.nanoTime() - uptime * 1_000_000, 0);
    }

    double secondsSince(Moment earlier) {
        return (clock - earlier.clock) / 1e9;
    }

    double cpuSecondsSince(Moment earlier) {
        return (cpu - earlier.cpu) / 1e9;
    }
}
