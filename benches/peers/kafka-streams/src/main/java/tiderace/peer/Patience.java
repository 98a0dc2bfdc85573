package tiderace.peer;

import java.time.Duration;

/** Gives up when a number stays the same for too long. */
final class Patience {
    private final Duration limit;
    private final String what;
    private long seen = -1;
    private long since = System.nanoTime();

    Patience(Duration limit, String what) {
        this.limit = limit;
        this.what = what;
    }

    /** Takes note of the number. */
    void see(long number) throws Failure {
        if (number != seen) {
            seen = number;
            since = System.nanoTime();
        } else if (System.nanoTime() - since > limit.toNanos()) {
            throw new Failure("no progress for " + limit.toSeconds() + " s: " + what + " is " + number);
        }
    }
}
