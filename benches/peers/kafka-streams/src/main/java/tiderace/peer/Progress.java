package tiderace.peer;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * How many records were processed, and when the first, half of them and all were.
 *
 * <p>A record counts when its value is decoded for the last step: a task decodes one record ahead, so a moment is early
 * by at most one record per partition. That all are done is judged by committed offsets instead.
 */
final class Progress {
    private final long records;
    private final AtomicLong processed = new AtomicLong();
    private final CountDownLatch all = new CountDownLatch(1);
    private volatile Moment first;
    private volatile Moment half;

    Progress(long records) {
        this.records = records;
    }

    /** Called by the stream threads, once a record. */
    void processed() {
        long count = processed.incrementAndGet();
        if (count == 1 || count == records / 2 || count == records) {
            mark(count);
        }
    }

    private void mark(long count) {
        Moment now = Moment.now();
        if (count == 1) {
            first = now;
        }
        if (count == records / 2) {
            half = now;
        }
        if (count == records) {
            all.countDown();
        }
    }

    /** Waits for the last record for a while, and says whether it came. */
    boolean awaitAll(long millis) throws InterruptedException {
        return all.await(millis, TimeUnit.MILLISECONDS);
    }

    long count() {
        return processed.get();
    }

    /** When the first record was processed; there was one. */
    Moment first() {
        return first;
    }

    /** When half of the records were processed. */
    Moment half() {
        return half;
    }
}
