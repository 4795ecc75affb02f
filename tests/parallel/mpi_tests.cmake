# The communicator suite and the driver of schedules under mpirun, and jobs in which a rank fails.
add_executable(mpi_communicator_test mpi_communicator_test.cc communicator_suite.cc loan_cases.cc)
target_link_libraries(mpi_communicator_test PRIVATE annulus_parallel GTest::gtest GTest::gmock)
add_executable(mpi_ring_test mpi_ring_test.cc ring_case.cc)
target_link_libraries(mpi_ring_test PRIVATE annulus_runtime annulus_reference)
annulus_compile_as_test(mpi_communicator_test)
set_target_properties(mpi_communicator_test mpi_ring_test PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)

# annulus_mpi_job(NAME RANKS STATUS TEXT PROGRAM...): the job ends with STATUS and prints TEXT.
function(annulus_mpi_job name ranks status text)
  add_test(NAME Mpi.${name}
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/expect_job.sh ${status} ${text}
                   ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} ${ARGN})
  # Open MPI refuses to run as root or with more ranks than cores, and binds ranks to cores that
  # other tests use as well. The leaks and lock orders that sanitizers find here are those inside the
  # MPI libraries, for a rank of ours is one thread.
  set(environment
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    ASAN_OPTIONS=detect_leaks=0
    TSAN_OPTIONS=detect_deadlocks=0)
  set_tests_properties(Mpi.${name} PROPERTIES
    PROCESSORS ${ranks} TIMEOUT 120 ENVIRONMENT "${environment}")
endfunction()

# annulus_mpi_test(NAME RANKS SCENARIO STATUS TEXT): of the communicator.
function(annulus_mpi_test name ranks scenario status text)
  annulus_mpi_job(${name} ${ranks} ${status} ${text}
                  $<TARGET_FILE:mpi_communicator_test> ${scenario} --gtest_brief=1)
endfunction()

foreach(ranks 1 2 3 4)
  annulus_mpi_test(SuiteOn${ranks} ${ranks} suite 0 "PASSED")
endforeach()
annulus_mpi_test(MessagesPast2GiBTravel 2 more-than-an-int-counts 0
                 "all of them came")
annulus_mpi_test(AStoppedRankMeetsTheDeadline 2 stopped 2
                 "rank 0: exchange over MPI .*nothing came from rank 1.* within 0.3 s")
annulus_mpi_test(ALenderThatStopsMeetsTheDeadline 2 lender-stops 2
                 "rank 1: barrier over MPI .*rank 0.* within 0.3 s")
annulus_mpi_test(ABorrowerThatStopsMeetsTheDeadline 2 borrower-stops 2
                 "rank 0: return of a loan over MPI .*nothing came from rank 1 within 0.3 s")
annulus_mpi_test(ALenderThatFailsEndsWhoReadsItsBlock 2 lender-fails 2 "caught: the lender fails")
annulus_mpi_test(AFailedRankEndsTheJob 3 fails 2 "caught: no such file")
annulus_mpi_test(ARankThatUnwindsEndsTheJob 3 fails-without-abort any "caught: no such file")
annulus_mpi_test(MismatchedSizesAreAContractError 2 mismatched-sizes 2
                 "rank 1: exchange from rank 0: 12 bytes came where 16 were expected")
annulus_mpi_job(RingOn2 2 0 "all-gather.*zigzag" $<TARGET_FILE:mpi_ring_test>)
annulus_mpi_job(RingOn4 4 0 "double-ring, 2.*zigzag" $<TARGET_FILE:mpi_ring_test>)
