package tiderace.peer;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.annotation.JsonDeserialize;

/** Values of the input topics, each with the fields that a workload uses. */
final class Values {
    private Values() {}

    /** How far a ride went, of a ride of 18 fields. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    static final class Driven {
        /** Miles. */
        @JsonProperty("trip_distance")
        public double tripDistance;
    }

    /** When a ride began, of a ride of 18 fields. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    static final class Begun {
        /** Milliseconds since 1970 began; the text is read as UTC. */
        @JsonProperty("tpep_pickup_datetime")
        @JsonDeserialize(using = DateTime.class)
        public long pickup;
    }
}
